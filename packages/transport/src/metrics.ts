/** A counter as prom-client's is. */
export interface Counter {
  inc(labels: Record<string, string>, value?: number): void;
}

/** What makes counters; a small part of a metrics registry. */
export interface CounterFactory {
  counter(name: string, help: string, labelNames: readonly string[]): Counter;
}

/** What transports and couriers count. */
export interface TransportMetrics {
  /** Messages handed to the transport, by `kind`. */
  readonly messagesSent: Counter;
  /** Messages that could not be handed to the transport, by `kind` and error `code`. */
  readonly messagesLost: Counter;
  /** Messages that passed every check, by `kind`. */
  readonly messagesReceived: Counter;
  /** Envelopes that failed a check, by error `code`. */
  readonly messagesRefused: Counter;
  /** Posted messages sent again for want of a receipt. */
  readonly messagesResent: Counter;
  /** Frame bytes, by `direction` in | out. */
  readonly bytes: Counter;
  /** Connections that reached HELLO's end, by `direction` in | out. */
  readonly connections: Counter;
  /** Connections that failed before or after HELLO, by error `code`. */
  readonly connectionFailures: Counter;
  /** Times that a peer had to wait for its rate limit. */
  readonly rateLimited: Counter;
}

const NOTHING: CounterFactory = { counter: () => ({ inc: () => {} }) };

/** The counters of this package, made by `factory`; without one they count nothing. */
export function createTransportMetrics(factory: CounterFactory | null): TransportMetrics {
  const registry = factory ?? NOTHING;
  const counter = (name: string, help: string, labelNames: readonly string[]): Counter =>
    registry.counter(name, help, labelNames);
  return {
    messagesSent: counter("p2p_messages_sent", "Messages handed to the peer transport", ["kind"]),
    messagesLost: counter("p2p_messages_lost", "Messages that the peer transport did not take", [
      "kind",
      "code",
    ]),
    messagesReceived: counter("p2p_messages_received", "Peer messages that passed every check", ["kind"]),
    messagesRefused: counter("p2p_messages_refused", "Peer messages that failed a check", ["code"]),
    messagesResent: counter("p2p_messages_resent", "Posted messages sent again for want of a receipt", []),
    bytes: counter("p2p_bytes", "Bytes of frames exchanged with peers", ["direction"]),
    connections: counter("p2p_connections", "Peer connections that completed HELLO", ["direction"]),
    connectionFailures: counter("p2p_connection_failures", "Peer connections that failed", ["code"]),
    rateLimited: counter("p2p_rate_limited", "Times that a peer had to wait for its rate limit", []),
  };
}
