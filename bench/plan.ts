/** How much is measured: `QUICK=1` for minutes, the whole for the targets. */
export interface Plan {
  readonly quick: boolean;
  /** Rounds of every pair of engine session and bare crate. */
  readonly pairs: number;
  /** Safe primes that the protocol crate's own generator searches for. */
  readonly barePrimes: number;
  /** Samples of every row of the table of speeds. */
  readonly samples: number;
  readonly paymentsCold: number;
  readonly paymentsStocked: number;
  /** Payments that are asked for at the same moment. */
  readonly atOnce: readonly number[];
  readonly sustainedMs: number;
  /** A whole number of the times between looks at the chain and questions of the fence, which a shorter look meets or misses by chance. */
  readonly idleMs: number;
  /** Transactions of the memory measurement, first and last look. */
  readonly transactions: readonly [number, number];
  /** Settled payments in the store of a daemon, first and second time. */
  readonly settled: readonly [number, number];
  /** Entries of an audit log that is verified. */
  readonly audited: number;
  /** Payments of the measurement of what the heap keeps, first and last look. */
  readonly grown: readonly [number, number];
}

export function planOf(environment: NodeJS.ProcessEnv): Plan {
  return environment.QUICK === "1"
    ? {
        quick: true,
        pairs: 2,
        barePrimes: 8,
        samples: 5,
        paymentsCold: 3,
        paymentsStocked: 8,
        atOnce: [8],
        sustainedMs: 10_000,
        idleMs: 60_000,
        transactions: [50, 300],
        settled: [100, 10_000],
        audited: 20_000,
        grown: [20, 80],
      }
    : {
        quick: false,
        pairs: 4,
        barePrimes: 6,
        samples: 15,
        paymentsCold: 10,
        paymentsStocked: 24,
        atOnce: [8, 64],
        sustainedMs: 60_000,
        idleMs: 60_000,
        transactions: [100, 10_000],
        settled: [1_000, 100_000],
        audited: 1_000_000,
        grown: [100, 1_000],
      };
}
