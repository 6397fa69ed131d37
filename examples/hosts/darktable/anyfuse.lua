--[[
darktable: an export target that fuses the exported images into one.

Copy this file into the folder lua of darktable's configuration, and add `require "anyfuse"` to luarc beside it. Select
the images of one scene, choose the target "fuse with anyfuse" in the export module, and export. The result lies beside
the first image as NAME-fused.tif or in the format that was chosen, and is imported. `anyfuse` must be on the PATH.
]]

local dt = require "darktable"

local function quoted(text)
  return "'" .. text:gsub("'", "'\\''") .. "'"
end

-- The command that fuses files into one.
local function command(files, result)
  local parts = { "anyfuse", "fuse" }
  for _, file in ipairs(files) do
    parts[#parts + 1] = quoted(file)
  end
  parts[#parts + 1] = "-o " .. quoted(result)
  return table.concat(parts, " ")
end

-- A name that no file has: NAME-fused.EXT, NAME-fused-2.EXT ...
local function free_name(stem, suffix)
  local number, name = 1, stem .. "-fused" .. suffix
  local file = io.open(name)
  while file do
    file:close()
    number = number + 1
    name = stem .. "-fused-" .. number .. suffix
    file = io.open(name)
  end
  return name
end

-- darktable calls this when all images are exported: images is a table from image to file.
local function finalize(storage, images, extra)
  local sorted = {}
  for image, file in pairs(images) do
    sorted[#sorted + 1] = { image = image, file = file }
  end
  table.sort(sorted, function(a, b) return a.image.filename < b.image.filename end)
  if #sorted < 2 then
    dt.print("anyfuse: select two or more images of one scene")
    for _, one in ipairs(sorted) do
      os.remove(one.file)
    end
    return
  end
  local files = {}
  for k, one in ipairs(sorted) do
    files[k] = one.file
  end
  local first = sorted[1].image
  local stem = first.path .. "/" .. first.filename:gsub("%.[^.]*$", "")
  local result = free_name(stem, files[1]:match("%.[^.]*$") or ".tif")
  dt.print("anyfuse: fusing " .. #files .. " images")
  local failed = dt.control.execute(command(files, result)) ~= 0
  for _, file in ipairs(files) do
    os.remove(file)
  end
  if failed then
    dt.print("anyfuse failed; start darktable in a terminal to see why")
    return
  end
  dt.database.import(result)
  dt.print("anyfuse: " .. result)
end

local function store() end -- darktable has written the file already

dt.register_storage("anyfuse", "fuse with anyfuse", store, finalize)
