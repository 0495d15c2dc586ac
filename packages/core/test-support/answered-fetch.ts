/** Runs `work` while every request of this process gets `answer`, by path, without a network. One at a time. */
export async function answeredFetch<Result>(
  answer: (path: string) => { readonly body: string; readonly status?: number },
  work: () => Promise<Result>,
): Promise<Result> {
  const real = globalThis.fetch;
  globalThis.fetch = async (input) => {
    const { body, status = 200 } = answer(new URL(String(input)).pathname);
    return new Response(body, { status });
  };
  try {
    return await work();
  } finally {
    globalThis.fetch = real;
  }
}
