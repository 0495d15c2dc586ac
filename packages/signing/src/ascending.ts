/** Whether each number is larger than the one before it: the one order in which sets of nodes are written. */
export function isAscending(numbers: readonly number[]): boolean {
  return numbers.every((value, position) => position === 0 || value > (numbers[position - 1] ?? value));
}
