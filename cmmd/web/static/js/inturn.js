// Questions that are asked one after the other, so that answers come in the order of their questions.

/** Call again only once the call before has ended: so no answer comes after that of a later question. */
export function inTurn(call) {
  let running = null;
  let again = false;
  return () => {
    again = true;
    running ??= (async () => {
      try {
        while (again) {
          again = false;
          await call();
        }
      } finally {
        running = null;
      }
    })();
    return running;
  };
}
