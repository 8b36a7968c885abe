// The picture: its marks, the map laid over it, and a box that a person draws by pointer, touch, two taps or keys. The
// text field under the question says the same box in numbers; either changes the other.
const stageOf = (element) => element.closest(".ex-look")?.querySelector("[data-stage]");
const clamp = (value) => Math.min(1, Math.max(0, value));
const drawing = { stage: null, from: null, moved: false, corner: null, box: null };

const showMap = (select) => {
  const look = select.closest(".ex-look");
  const stage = stageOf(select);
  const map = stage.querySelector(".ex-map");
  const option = select.selectedOptions[0];
  const caption = look.querySelector(".ex-caption");
  const alone = option.dataset.places === "no";
  map.hidden = caption.hidden = !select.value;
  look.querySelector(".ex-opacity").hidden = !select.value || alone;
  stage.classList.toggle("ex-alone", Boolean(select.value) && alone);
  if (!select.value) return;
  map.src = select.value;
  caption.querySelector("p").textContent =
    (alone ? "This is no map of places. " : "") + option.dataset.caption;
  setOpacity(look.querySelector("[data-do=opacity]"));
};
const setOpacity = (range) => {
  const stage = stageOf(range);
  const alone = stage.classList.contains("ex-alone");
  stage.querySelector(".ex-map").style.opacity = alone ? 1 : range.value / 100;
};

const setDrawing = (button, on) => {
  const stage = stageOf(button);
  stage.classList.toggle("ex-drawing", on);
  button.setAttribute("aria-pressed", String(on));
  button.textContent = on ? "Done" : "Draw a box";
  hint(stage, on ? "Drag over the picture, or tap two corners. By keyboard: arrow keys move the box, Shift and an arrow key size it, Enter ends." : "");
  drawing.stage = on ? stage : null;
  drawing.corner = null;
  if (on) {
    stage.tabIndex = 0;
    stage.setAttribute("role", "application");
    stage.setAttribute("aria-label", "Draw a box: arrow keys move it, Shift and an arrow key size it, Enter ends");
    stage.focus({ preventScroll: true });
  } else {
    ["tabindex", "role", "aria-label"].forEach((name) => stage.removeAttribute(name));
  }
};
const endDrawing = (stage) => {
  const button = stage.closest(".ex-look").querySelector("[data-do=draw]");
  setDrawing(button, false);
  button.focus({ preventScroll: true });
};
const hint = (stage, text) => {
  const place = stage.closest(".ex-look").querySelector(".ex-hint");
  if (place) place.textContent = text;
};

const numbers = (box) => [box.x0, box.y0, box.x1, box.y1].map((value) => value.toFixed(3)).join(", ");
const drawBox = (stage, box, tell = true) => {
  drawing.box = box;
  const drawn = stage.querySelector(".ex-drawn");
  drawn.hidden = !box;
  stage.closest(".ex-look").querySelector("[data-do=undraw]").hidden = !box;
  if (box) {
    drawn.style.left = `${box.x0 * 100}%`;
    drawn.style.top = `${box.y0 * 100}%`;
    drawn.style.width = `${(box.x1 - box.x0) * 100}%`;
    drawn.style.height = `${(box.y1 - box.y0) * 100}%`;
  }
  if (tell) fill("#box", box ? numbers(box) : "");
};
const between = (a, b) => ({
  x0: Math.min(a.x, b.x), y0: Math.min(a.y, b.y), x1: Math.max(a.x, b.x), y1: Math.max(a.y, b.y),
});
const big = (box) => box.x1 - box.x0 >= 0.01 && box.y1 - box.y0 >= 0.01;
const pointIn = (stage, event) => {
  const frame = stage.getBoundingClientRect();
  return { x: clamp((event.clientX - frame.left) / frame.width), y: clamp((event.clientY - frame.top) / frame.height) };
};
const settle = (stage) => {
  hint(stage, `The box reaches from ${Math.round(drawing.box.x0 * 100)} to ${Math.round(drawing.box.x1 * 100)} % of the width and from ${Math.round(drawing.box.y0 * 100)} to ${Math.round(drawing.box.y1 * 100)} % of the height. Ask about it below.`);
};

document.addEventListener("pointerdown", (event) => {
  const stage = event.target.closest?.("[data-stage]");
  if (!stage || stage !== drawing.stage || event.button !== 0) return;
  event.preventDefault();
  stage.setPointerCapture(event.pointerId);
  drawing.from = pointIn(stage, event);
  drawing.moved = false;
});
document.addEventListener("pointermove", (event) => {
  if (!drawing.from || !drawing.stage) return;
  const box = between(drawing.from, pointIn(drawing.stage, event));
  if (!big(box)) return;
  drawing.moved = true;
  drawBox(drawing.stage, box);
});
document.addEventListener("pointerup", (event) => {
  if (!drawing.from || !drawing.stage) return;
  const stage = drawing.stage;
  const point = pointIn(stage, event);
  drawing.from = null;
  if (!drawing.moved) {
    if (!drawing.corner) {
      drawing.corner = point;
      hint(stage, "One corner is set: tap the opposite one.");
      return;
    }
    const box = between(drawing.corner, point);
    drawing.corner = null;
    if (!big(box)) return hint(stage, "That is too small for a box: tap two corners further apart.");
    drawBox(stage, box);
  }
  endDrawing(stage);
  settle(stage);
});
document.addEventListener("pointercancel", () => {
  drawing.from = null;
});

document.addEventListener("keydown", (event) => {
  const stage = drawing.stage;
  if (!stage || document.activeElement !== stage) return;
  if (event.key === "Escape") {
    drawBox(stage, null);
    return endDrawing(stage);
  }
  if (event.key === "Enter") {
    endDrawing(stage);
    if (drawing.box) settle(stage);
    return;
  }
  const step = { ArrowLeft: [-0.02, 0], ArrowRight: [0.02, 0], ArrowUp: [0, -0.02], ArrowDown: [0, 0.02] }[event.key];
  if (!step) return;
  event.preventDefault();
  const old = drawing.box ?? { x0: 0.35, y0: 0.35, x1: 0.65, y1: 0.65 };
  const box = { ...old };
  if (event.shiftKey) {
    box.x1 = Math.max(clamp(old.x1 + step[0]), old.x0 + 0.02);
    box.y1 = Math.max(clamp(old.y1 + step[1]), old.y0 + 0.02);
  } else {
    const dx = Math.min(Math.max(step[0], -old.x0), 1 - old.x1);
    const dy = Math.min(Math.max(step[1], -old.y0), 1 - old.y1);
    Object.assign(box, { x0: old.x0 + dx, x1: old.x1 + dx, y0: old.y0 + dy, y1: old.y1 + dy });
  }
  drawBox(stage, box);
});

document.addEventListener("click", (event) => {
  const control = event.target.closest?.("[data-do]");
  if (control?.dataset.do === "draw") setDrawing(control, control.getAttribute("aria-pressed") !== "true");
  if (control?.dataset.do === "undraw") {
    drawBox(stageOf(control), null);
    hint(stageOf(control), "The box was removed.");
  }
});
document.addEventListener("input", (event) => {
  const target = event.target;
  if (target.dataset?.do === "opacity") setOpacity(target);
  if (!event.isTrusted || !target.closest?.("#box")) return;
  const stage = document.querySelector("[data-stage]");
  const [x0, y0, x1, y1] = target.value.split(/[,;\s]+/).filter(Boolean).map(Number);
  const box = { x0, y0, x1, y1 };
  const holds = [x0, y0, x1, y1].every((value) => value >= 0 && value <= 1) && x0 < x1 && y0 < y1;
  if (stage) drawBox(stage, holds ? box : null, false);
});
document.addEventListener("change", (event) => {
  const target = event.target;
  if (target.dataset?.do === "map") showMap(target);
  if (target.dataset?.do === "marks") stageOf(target).classList.toggle("ex-bare", !target.checked);
});
