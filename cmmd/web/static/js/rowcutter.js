// Reads {"columns": [...], ..., "rows": [[...], [...]]} while it comes: with thousands of devices the first are to be seen at once.

const ROWS = '"rows":[';

export class RowCutter {
  /** What stands before the rows; null: not there yet. */
  head = null;
  /** Whether it has come to its end. */
  whole = false;
  #text = "";
  #place = 0;
  #begin = -1;
  #depth = 0;
  #quoted = false;

  /** Take a piece of text; gives the rows that are whole now. */
  take(text) {
    this.#text += text;
    if (this.head === null) {
      const found = this.#text.indexOf(ROWS);
      if (found < 0) return [];
      this.head = JSON.parse(`${this.#text.slice(0, found)}"rows":[]}`);
      this.#text = this.#text.slice(found + ROWS.length);
    }
    const rows = [];
    for (; this.#place < this.#text.length; this.#place++) {
      const char = this.#text.charCodeAt(this.#place);
      if (this.#quoted) {
        if (char === 92)
          this.#place++; // what follows a backslash ends nothing
        else if (char === 34) this.#quoted = false;
      } else if (char === 34) {
        this.#quoted = true;
      } else if (char === 91) {
        if (this.#depth++ === 0) this.#begin = this.#place;
      } else if (char === 93) {
        if (this.#depth === 0) this.whole = true;
        else if (--this.#depth === 0) {
          rows.push(JSON.parse(this.#text.slice(this.#begin, this.#place + 1)));
          this.#begin = -1;
        }
      }
    }
    const kept = this.#begin < 0 ? this.#place : this.#begin;
    this.#text = this.#text.slice(kept);
    this.#place -= kept;
    if (this.#begin >= 0) this.#begin = 0;
    return rows;
  }
}
