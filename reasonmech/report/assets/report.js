"use strict";
const figures = JSON.parse(document.getElementById("figures").textContent);
for (const [id, figure] of Object.entries(figures)) {
  const layout = Object.assign({}, figure.layout, { autosize: true });
  Plotly.newPlot(id, figure.data, layout, { displaylogo: false, responsive: true,
    modeBarButtonsToRemove: ["lasso2d", "select2d"], toImageButtonOptions: { format: "svg", filename: id } });
}
document.documentElement.dataset.ready = "yes";
