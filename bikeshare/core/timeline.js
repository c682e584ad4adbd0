document.querySelectorAll("nav input").forEach((box) => {
  box.addEventListener("change", () => {
    document.querySelectorAll(".card").forEach((card) => {
      if (card.dataset.kind === box.value) card.hidden = !box.checked;
    });
  });
});
