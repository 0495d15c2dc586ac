/**
 * `text` without what a terminal obeys or hides: control characters, escape sequences, direction marks. A node chooses labels,
 * reasons and names, and must not be able to draw over what this command says.
 */
export function printable(text: string): string {
  return text.replace(/[\p{C}\p{Zl}\p{Zp}]/gu, "\ufffd");
}
