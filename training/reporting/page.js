// Goes through a run's grids: the slider shows one, and a line at the same number of images crosses all curves.
"use strict";
const slider = document.querySelector(".times input");
const grids = [...document.querySelectorAll(".times figure[data-at]")];
const cursors = [...document.querySelectorAll(".cursor")];
const KEY = "latentserve-grid:" + location.pathname;

function show(place) {
  grids.forEach((grid, other) => { grid.hidden = other !== place; });
  const at = grids[place].dataset.at;
  for (const cursor of cursors) { cursor.setAttribute("x1", at); cursor.setAttribute("x2", at); }
  slider.setAttribute("aria-valuetext", grids[place].querySelector("figcaption").textContent);
}

if (slider && grids.length) {
  // The page is loaded anew while the run goes on: who looks at an earlier grid goes on looking at it.
  let kept = null;
  try { kept = sessionStorage.getItem(KEY); } catch { /* files have none in some browsers */ }
  const place = grids.findIndex((grid) => grid.dataset.images === kept);
  slider.value = place < 0 ? grids.length - 1 : place;
  show(Number(slider.value));
  slider.addEventListener("input", () => {
    const chosen = Number(slider.value);
    show(chosen);
    try {
      if (chosen === grids.length - 1) sessionStorage.removeItem(KEY);
      else sessionStorage.setItem(KEY, grids[chosen].dataset.images);
    } catch { /* then the newest is shown next time */ }
  });
}
