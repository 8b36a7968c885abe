// What every page does: sentences that open, citations that lead to their row, copying, pasting a picture, saying aloud
// what changes. Listeners sit on the document, because Gradio puts new HTML in place of the old whenever a value changes.
document.documentElement.lang = "en";

const live = document.createElement("p");
live.className = "ex-sr";
live.setAttribute("role", "status");
document.body.append(live);
const say = (text) => {
  live.textContent = text;
};

const still = () => matchMedia("(prefers-reduced-motion: reduce)").matches;
const bring = (element, block = "center") => element.scrollIntoView({ block, behavior: still() ? "auto" : "smooth" });

// Gradio's fields listen for `input`; a value that is set without it is not seen.
const fill = (selector, text) => {
  const field = document.querySelector(`${selector} textarea, ${selector} input`);
  if (!field) return null;
  const kind = field instanceof HTMLTextAreaElement ? HTMLTextAreaElement : HTMLInputElement;
  Object.getOwnPropertyDescriptor(kind.prototype, "value").set.call(field, text);
  field.dispatchEvent(new Event("input", { bubbles: true }));
  return field;
};

const citeRow = (name) => {
  const row = [...document.querySelectorAll("[data-evidence]")].find((each) => each.dataset.evidence === name);
  if (!row) return;
  document.querySelectorAll(".ex-row.ex-lit").forEach((lit) => lit.classList.remove("ex-lit"));
  row.classList.add("ex-lit");
  bring(row);
  row.focus({ preventScroll: true });
};

const lightMarks = (numbers) => {
  const wanted = new Set(numbers);
  document.querySelectorAll("[data-mark]").forEach((each) => {
    const on = wanted.has(each.dataset.mark);
    each.classList.toggle("ex-lit", on);
    if (each.hasAttribute("aria-pressed")) each.setAttribute("aria-pressed", String(on));
  });
  document.querySelectorAll("[data-stage]").forEach((stage) => stage.classList.toggle("ex-dim", wanted.size > 0));
};

const openSentence = (box, open) => {
  document.querySelectorAll(".ex-say.ex-open").forEach((other) => {
    if (other !== box || !open) setOpen(other, false);
  });
  setOpen(box, open);
  lightMarks(open && box.dataset.marks ? box.dataset.marks.split(" ") : []);
};
const setOpen = (box, open) => {
  box.classList.toggle("ex-open", open);
  box.querySelector(".ex-more").setAttribute("aria-expanded", String(open));
  box.querySelector(".ex-behind").hidden = !open;
};

const copy = async (button) => {
  const text = button.closest("figure").querySelector("blockquote").textContent;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch {
    getSelection().selectAllChildren(button.closest("figure").querySelector("blockquote"));
    button.textContent = "Selected: copy it with Ctrl+C";
  }
  say(button.textContent);
};

document.addEventListener("click", (event) => {
  const cite = event.target.closest?.("[data-cite]");
  if (cite) return citeRow(cite.dataset.cite);
  const control = event.target.closest?.("[data-do]");
  const box = event.target.closest?.(".ex-say");
  if (control?.dataset.do === "open") return openSentence(box, !box.classList.contains("ex-open"));
  if (control?.dataset.do === "copy") return copy(control);
  if (control?.dataset.do === "mark") {
    const lit = control.getAttribute("aria-pressed") === "true";
    lightMarks(lit ? [] : [control.dataset.mark]);
    return;
  }
  // a click on the words of a sentence opens it too, unless they were being selected
  if (box && event.target.closest(".ex-text") && getSelection().isCollapsed) {
    openSentence(box, !box.classList.contains("ex-open"));
  }
});

document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  document.querySelectorAll(".ex-say.ex-open").forEach((box) => setOpen(box, false));
  lightMarks([]);
});

// A picture from the clipboard goes in as it lies there.
document.addEventListener("paste", async (event) => {
  const files = [...(event.clipboardData?.files ?? [])].filter((file) => file.type.startsWith("image/"));
  if (!files.length || !document.querySelector("#picture")) return;
  event.preventDefault();
  document.querySelector("#picture button[aria-label='Clear']")?.click();
  for (let tries = 0; tries < 40 && !document.querySelector("#picture input[type=file]"); tries += 1) {
    await new Promise((done) => setTimeout(done, 50));
  }
  const input = document.querySelector("#picture input[type=file]");
  if (!input) return;
  const held = new DataTransfer();
  files.slice(0, input.multiple ? files.length : 1).forEach((file) => held.items.add(file));
  input.files = held.files;
  input.dispatchEvent(new Event("change", { bubbles: true }));
  say("The picture was pasted.");
});

// The address leads back to the case or batch that is shown.
const remember = (name, number) => {
  if (!number || new URLSearchParams(location.search).get(name) === number) return;
  history.replaceState(null, "", `${location.pathname}?${name}=${encodeURIComponent(number)}`);
};

// The newest step and every answer are said aloud; the whole list is not read again each time.
new MutationObserver(() => {
  const steps = document.querySelectorAll(".ex-steps li");
  const last = steps[steps.length - 1]?.textContent;
  if (last && last !== live.textContent) say(last);
  remember("case", document.querySelector("#case-number")?.textContent);
  remember("id", document.querySelector("[data-batch]")?.dataset.batch);
}).observe(document.body, { childList: true, subtree: true });

// A folder that is dropped on the page for many pictures is walked here: Gradio's field takes files only.
const filesIn = async (entry) => {
  if (entry.isFile) return [await new Promise((done, failed) => entry.file(done, failed))];
  const reader = entry.createReader();
  const found = [];
  for (;;) {
    const some = await new Promise((done, failed) => reader.readEntries(done, failed));
    if (!some.length) return found;
    for (const each of some) found.push(...(await filesIn(each)));
  }
};
document.addEventListener("drop", async (event) => {
  const input = event.target.closest?.("#picture")?.querySelector("input[type=file]");
  const entries = [...(event.dataTransfer?.items ?? [])].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!input?.multiple || !entries.some((entry) => entry.isDirectory)) return;
  event.preventDefault();
  event.stopPropagation();
  const held = new DataTransfer();
  for (const entry of entries) (await filesIn(entry)).forEach((file) => held.items.add(file));
  input.files = held.files;
  input.dispatchEvent(new Event("change", { bubbles: true }));
}, true);
