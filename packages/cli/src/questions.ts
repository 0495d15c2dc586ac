/** What a person at a terminal can be asked. Each ends with CairnError `closed` when the person gives up. */
export interface Questions {
  /** @param problem what is wrong with an answer, or undefined */
  text(message: string, initial: string, problem: (answer: string) => string | undefined): Promise<string>;
  choose<Choice extends string>(
    message: string,
    choices: readonly { readonly value: Choice; readonly hint: string }[],
  ): Promise<Choice>;
}
