// Asks Clerk who is there, and exchanges its token for our own cookie. The token is never stored.
"use strict";

const state = document.getElementById("state");
const go = document.getElementById("go");

async function exchange(token) {
  const answer = await fetch("/ui/session", {
    method: "POST",
    headers: { Authorization: `Bearer ${token}` },
    credentials: "same-origin",
    redirect: "error",
  });
  if (answer.ok) {
    location.replace("/ui/bookings");
    return;
  }
  const problem = await answer.json().catch(() => ({}));
  state.textContent = `You were not let in: ${problem.detail ?? answer.status}`;
}

async function begin() {
  if (!window.Clerk) {
    state.textContent = "The sign-in cannot be reached right now; load the page again.";
    return;
  }
  await window.Clerk.load();
  const session = window.Clerk.session;
  if (session) {
    await exchange(await session.getToken());
    return;
  }
  state.textContent = "You are not signed in.";
  go.hidden = false;
  go.addEventListener("click", () => window.Clerk.redirectToSignIn({ signInForceRedirectUrl: location.href }));
}

begin().catch(() => {
  state.textContent = "The sign-in failed; load the page again.";
});
