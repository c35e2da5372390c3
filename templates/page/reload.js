// The page that metagen view serves loads itself again when the package has changed.
const seen = document.currentScript.dataset.state;
setInterval(async () => {
  try {
    const answer = await fetch("/-/state", { cache: "no-store" });
    if (answer.ok && (await answer.text()) !== seen) location.reload();
  } catch {
    // The server has ended; the page stays as it is.
  }
}, 1000);
