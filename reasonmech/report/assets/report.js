"use strict";
const figures = JSON.parse(document.getElementById("figures").textContent);
for (const [id, figure] of Object.entries(figures)) {
  const layout = Object.assign({}, figure.layout, { autosize: true });
  Plotly.newPlot(id, figure.data, layout, { displaylogo: false, responsive: true,
    modeBarButtonsToRemove: ["lasso2d", "select2d"], toImageButtonOptions: { format: "svg", filename: id } });
}
const tip = document.getElementById("tip");
function show(token) {
  tip.textContent = token.dataset.tip;
  tip.hidden = false;
  const box = token.getBoundingClientRect();
  const left = Math.min(box.left, window.innerWidth - tip.offsetWidth - 12);
  const above = box.top - tip.offsetHeight - 8;
  tip.style.left = Math.max(8, left) + "px";
  tip.style.top = (above > 8 ? above : box.bottom + 8) + "px";
}
document.addEventListener("mouseover", (event) => {
  const token = event.target.closest(".t");
  if (token) show(token); else tip.hidden = true;
});
document.addEventListener("focusin", (event) => { if (event.target.matches(".t")) show(event.target); });
function colour(channel) {
  for (const token of document.querySelectorAll(".t[data-a]")) {
    const strengths = token.dataset.a.split(" ");
    const strength = channel < 0 ? 0 : Number(strengths[channel] || 0);
    token.style.background = strength > 0 ? `rgba(11,110,117,${(0.08 + 0.5 * Math.min(1, strength)).toFixed(3)})` : "";
  }
  for (const button of document.querySelectorAll("[data-channel]")) {
    button.setAttribute("aria-pressed", String(Number(button.dataset.channel) === channel));
  }
}
for (const button of document.querySelectorAll("[data-channel]")) {
  button.addEventListener("click", () => colour(Number(button.dataset.channel)));
}
if (document.querySelector("[data-channel]")) colour(0);
document.documentElement.dataset.ready = "yes";
