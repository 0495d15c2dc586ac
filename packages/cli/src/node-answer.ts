import { CairnError, isCairnError } from "@cairn/core";

/** What one of several nodes answered, or why it did not. */
export type NodeAnswer<T> =
  | { readonly endpoint: string; readonly value: T; readonly error: null }
  | { readonly endpoint: string; readonly value: null; readonly error: CairnError };

export type NodeSuccess<T> = Extract<NodeAnswer<T>, { readonly error: null }>;
type NodeFailure<T> = Extract<NodeAnswer<T>, { readonly value: null }>;

/** Asks all at once; an error of Cairn's is an answer too. */
export async function askEach<T>(
  nodes: readonly { readonly endpoint: string; readonly ask: () => Promise<T> }[],
): Promise<readonly NodeAnswer<T>[]> {
  return Promise.all(
    nodes.map(async ({ endpoint, ask }): Promise<NodeAnswer<T>> => {
      try {
        return { endpoint, value: await ask(), error: null };
      } catch (error) {
        if (!isCairnError(error)) throw error;
        return { endpoint, value: null, error };
      }
    }),
  );
}

export function failures<T>(answers: readonly NodeAnswer<T>[]): readonly NodeFailure<T>[] {
  return answers.filter((answer): answer is NodeFailure<T> => answer.error !== null);
}

/**
 * The answers of those that gave one, in the order of the endpoints.
 * @throws CairnError the first node's, where none gave one
 */
export function successes<T>(
  answers: readonly NodeAnswer<T>[],
): readonly [NodeSuccess<T>, ...NodeSuccess<T>[]] {
  const [first, ...others] = answers.filter((answer): answer is NodeSuccess<T> => answer.error === null);
  if (first !== undefined) return [first, ...others];
  throw failures(answers)[0]?.error ?? new CairnError("config-invalid", "no endpoint is configured");
}
