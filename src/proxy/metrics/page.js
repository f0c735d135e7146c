(() => {
  const look = async () => {
    if (document.hidden) return;
    try {
      const reply = await fetch(location.href, { cache: "no-store" });
      const page = new DOMParser().parseFromString(await reply.text(), "text/html");
      document.querySelector("main").replaceWith(page.querySelector("main"));
      document.title = page.title;
      document.body.classList.remove("lost");
    } catch {
      document.body.classList.add("lost");
    }
  };
  setInterval(look, 2000);
})();
