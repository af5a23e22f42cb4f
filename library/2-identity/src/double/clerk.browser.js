// Stands in for Clerk's script: whoever was chosen on the stand-in's page is signed in.
"use strict";

(() => {
  const frontend = new URL(document.currentScript.src).origin;
  const [subject, organization] = decodeURIComponent(location.hash.slice(1)).split("/");

  window.Clerk = {
    session: null,
    async load() {
      if (!subject) return;
      history.replaceState(null, "", location.pathname);
      const asked = new URLSearchParams({ subject, organization });
      this.session = {
        getToken: async () => (await fetch(`${frontend}/token?${asked}`)).text(),
      };
    },
    redirectToSignIn({ signInForceRedirectUrl }) {
      const asked = new URLSearchParams({ redirect_url: signInForceRedirectUrl });
      location.assign(`${frontend}/sign-in?${asked}`);
    },
  };
})();
