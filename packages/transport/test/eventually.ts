/** Repeats `check` until it passes, and fails as it does after `limitMs`. */
export async function eventually(check: () => void | Promise<void>, limitMs = 10_000): Promise<void> {
  const end = performance.now() + limitMs;
  for (;;) {
    try {
      await check();
      return;
    } catch (error) {
      if (performance.now() > end) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
