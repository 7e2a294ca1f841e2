// Real or generated? Each card says which it is once it was guessed.
document.querySelectorAll(".quiz").forEach((quiz) => {
  const score = quiz.querySelector(".score");
  const cards = [...quiz.querySelectorAll(".card")];
  let right = 0, done = 0;
  cards.forEach((card) => card.querySelectorAll("button").forEach((button) => {
    button.addEventListener("click", () => {
      if (card.dataset.done) return;
      card.dataset.done = "yes";
      const hit = button.dataset.guess === card.dataset.answer;
      right += hit; done += 1;
      card.classList.add(hit ? "hit" : "miss");
      card.querySelector(".answer").textContent = card.dataset.answer;
      score.textContent = `${right} of ${done} right` + (done === cards.length ?
        (right <= cards.length * 0.65 ? ": you cannot tell them apart for sure." : ": you can tell them apart.") : "");
    });
  }));
  quiz.querySelector(".reveal").addEventListener("click", () => cards.forEach((card) => {
    card.querySelector(".answer").textContent = card.dataset.answer;
  }));
});
