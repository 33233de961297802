(function () {
  "use strict";
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const mouse = window.matchMedia("(pointer: fine)").matches;
  const config = { displayModeBar: false, responsive: true, showTips: false };
  const narrow = window.innerWidth < 600;

  for (const element of document.querySelectorAll("[data-chart]")) {
    const figure = figures[element.dataset.chart];
    const layout = figure.layout;
    if (mouse) layout.dragmode = "zoom";
    if (narrow) layout.font.size = 11;
    Plotly.newPlot(element, figure.data, layout, config);
  }

  // Closed parts would be missing on paper.
  window.addEventListener("beforeprint", function () {
    for (const part of document.querySelectorAll("details")) part.open = true;
    for (const element of document.querySelectorAll("[data-chart]")) Plotly.Plots.resize(element);
  });
})();
