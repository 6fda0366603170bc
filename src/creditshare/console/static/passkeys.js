// Asks the person's authenticator (W3C WebAuthn): to make a passkey, or to sign exactly what the page shows.
"use strict";
(() => {
  const bytes = (text) => Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (c) => c.charCodeAt(0));
  const text = (buffer) =>
    btoa(String.fromCharCode(...new Uint8Array(buffer))).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");

  async function sign(form) {
    const asked = form.dataset;
    const got = await navigator.credentials.get({
      publicKey: {
        challenge: bytes(asked.challenge),
        rpId: asked.rp,
        userVerification: "required",
        timeout: 120000,
        allowCredentials: asked.credentials.split(" ").filter(Boolean).map((id) => ({ type: "public-key", id: bytes(id) })),
      },
    });
    form.elements.credential.value = text(got.rawId);
    form.elements.authenticator_data.value = text(got.response.authenticatorData);
    form.elements.client_data.value = text(got.response.clientDataJSON);
    form.elements.signature.value = text(got.response.signature);
  }

  async function make(form) {
    const asked = form.dataset;
    const got = await navigator.credentials.create({
      publicKey: {
        challenge: bytes(asked.challenge),
        rp: { id: asked.rp, name: "creditshare" },
        user: { id: bytes(asked.user), name: asked.name, displayName: asked.name },
        pubKeyCredParams: [{ type: "public-key", alg: -7 }],
        attestation: "none",
        timeout: 120000,
        authenticatorSelection: { userVerification: "required", residentKey: "discouraged" },
        excludeCredentials: asked.credentials.split(" ").filter(Boolean).map((id) => ({ type: "public-key", id: bytes(id) })),
      },
    });
    form.elements.credential.value = text(got.rawId);
    form.elements.client_data.value = text(got.response.clientDataJSON);
    form.elements.attestation.value = text(got.response.attestationObject);
  }

  document.addEventListener("submit", async (event) => {
    const form = event.target;
    const ask = { sign, make }[form.dataset.passkey];
    if (!ask) return;
    event.preventDefault();
    const said = form.querySelector("[role=alert]");
    said.hidden = true;
    try {
      await ask(form);
      form.submit();
    } catch (error) {
      form.querySelector("button[type=submit]").disabled = false;
      said.hidden = false;
    }
  }, true);
})();
