() => {
  document.documentElement.lang = "en";
  document.addEventListener("click", (event) => {
    const cite = event.target.closest?.("[data-cite]");
    if (!cite) return;
    const row = [...document.querySelectorAll("[data-evidence]")].find((r) => r.dataset.evidence === cite.dataset.cite);
    if (!row) return;
    document.querySelectorAll(".ex-lit").forEach((lit) => lit.classList.remove("ex-lit"));
    row.classList.add("ex-lit");
    row.scrollIntoView({ block: "center", behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
    row.focus({ preventScroll: true });
  });
}
