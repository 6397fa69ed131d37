// The JSON API of the server that this page comes from. No other address is ever asked.

const KEY = "anyfuse.token";
let token = "";
let asking = null;

/** Takes the token from the address (#token=...), or from this tab's earlier pages. */
export function findToken() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given) {
    sessionStorage.setItem(KEY, given);
    history.replaceState(null, "", location.pathname);
  }
  token = sessionStorage.getItem(KEY) || "";
}

export const hasToken = () => token !== "";

/** Asks for the token in a dialog, once at a time. */
function askToken() {
  asking ??= new Promise((resolve) => {
    const dialog = document.getElementById("ask");
    const field = document.getElementById("token");
    dialog.addEventListener("close", () => {
      token = field.value.trim();
      sessionStorage.setItem(KEY, token);
      field.value = "";
      asking = null;
      resolve();
    }, { once: true });
    dialog.showModal();
  });
  return asking;
}

/** One request; an error is thrown with the server's line as its message. */
export async function request(path, options = {}) {
  for (;;) {
    const headers = { ...(options.headers || {}) };
    if (token) headers.Authorization = `Bearer ${token}`;
    let answer;
    try {
      answer = await fetch(path, { ...options, headers });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Error("The server does not answer. Is it still running?");
    }
    if (answer.status === 401) {
      await askToken();
      continue;
    }
    if (!answer.ok) {
      let text = `The server answered ${answer.status}.`;
      try { text = (await answer.json()).error || text; } catch { /* no JSON */ }
      const problem = new Error(text);
      problem.status = answer.status;
      throw problem;
    }
    return answer;
  }
}

export const json = async (path, options) => (await request(path, options)).json();

/** A picture as ImageBitmap. */
export async function bitmap(path, signal) {
  return createImageBitmap(await (await request(path, { signal })).blob());
}

/** A picture as address for <img>. */
export async function imageUrl(path) {
  return URL.createObjectURL(await (await request(path)).blob());
}

/** Follows a job: calls `heard` with each state, returns the last one. */
export async function follow(id, heard) {
  const answer = await request(`/v1/jobs/${id}/events`);
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  let last = null;
  for (;;) {
    const { value, done } = await reader.read();
    if (done) break;
    text += value;
    const events = text.split("\n\n");
    text = events.pop();
    for (const event of events) {
      if (!event.startsWith("data: ")) continue;
      last = JSON.parse(event.slice(6));
      heard(last);
    }
  }
  return last || json(`/v1/jobs/${id}`);
}

/** Saves what an address gives under a name; with a token a link alone cannot. */
export async function save(path, name) {
  const link = document.createElement("a");
  link.href = await imageUrl(path);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}
