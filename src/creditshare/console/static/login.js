// Hands the one-time code of the address's fragment to the form, once, and takes it out of the history first.
"use strict";
(() => {
  function enter() {
    const code = location.hash.slice(1);
    if (!/^[A-Za-z0-9_-]{43}$/.test(code)) return;
    history.replaceState(null, "", location.pathname);
    const form = document.getElementById("sign-in");
    form.elements.code.value = code;
    document.documentElement.classList.add("signing-in");
    form.submit();
  }
  // A link that is pasted while this page is open changes nothing but the fragment.
  addEventListener("hashchange", enter);
  enter();
})();
