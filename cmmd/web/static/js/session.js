// Who we are: signed in with a token, or a reader on the daemon's own machine where there are no tokens yet.

import * as api from "./api.js";

const ROLES = ["viewer", "operator", "engineer", "admin"];

export const me = {name: null, role: null, csrf: null};

function take(session) {
  Object.assign(me, {name: session.name, role: session.role, csrf: session.csrf ?? null});
}

/** Ask the daemon. False: nobody has signed in here; or, seen from elsewhere, there are no tokens yet to sign in with. */
export async function recall() {
  try {
    take(await api.session());
  } catch (error) {
    if (!(error instanceof api.Refused && error.status === 401)) throw error;
  }
  return me.role !== null;
}

export async function signIn(token) {
  take(await api.signIn(token));
}

/** Sign in by the link that the page was opened with, once, and take it out of the address. False: there is none, or it does not count. */
export async function signInByLink() {
  const found = /^#link=([A-Za-z0-9_-]+)$/.exec(location.hash);
  if (!found) return false;
  history.replaceState(null, "", location.pathname);
  try {
    take(await api.signInByLink(found[1]));
  } catch (error) {
    if (!(error instanceof api.Refused)) throw error;
    return false;
  }
  return true;
}

/** Fails where it is not known that the session has ended. */
export async function signOut() {
  try {
    await api.signOut();
  } catch (error) {
    if (!(error instanceof api.Refused && error.status === 401)) throw error;
  }
  Object.assign(me, {name: null, role: null, csrf: null});
}

/** Whether somebody with our role may do what needs this one. */
export const may = (role) => ROLES.indexOf(me.role) >= ROLES.indexOf(role);
