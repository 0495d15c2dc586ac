import { type Clock, isCairnError } from "@cairn/core";
import { type DestinationStream, pino } from "pino";

export type LogLevel = "trace" | "debug" | "info" | "warn" | "error";

/** Facts that go with a message. Secrets are redacted, but better never handed in. */
export type LogContext = { readonly [key: string]: unknown };

/** One JSON line a call: `level`, `time`, `node`, `message`, and the context's fields. Nothing is interpolated into messages. */
export interface Log {
  debug(message: string, context?: LogContext): void;
  info(message: string, context?: LogContext): void;
  warn(message: string, context?: LogContext): void;
  error(message: string, context?: LogContext): void;
}

/** Names of fields whose values never reach a log, wherever they stand. */
const SECRET_FIELD =
  /^(authorization|cookie|token|bearer|pass(word|phrase)|secret|mnemonic|seed|pem|share|sealed\w*|\w*(private|secret|sealing|identity|api|tls)_?key|\w+(token|secret|password|passphrase))$/i;
/** Secrets inside of text: PEM blocks and bearer tokens. */
const SECRET_TEXT =
  /-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(-----END [A-Z ]*PRIVATE KEY-----|$)|\bBearer\s+[^\s,;"]+/gi;
const REDACTED = "[redacted]";
const MAX_TEXT = 4096;
const MAX_DEPTH = 6;
const MAX_ITEMS = 64;

/** A log that writes to `destination`, from `level` up. */
export function createLog(
  options: { readonly level: LogLevel; readonly fields: LogContext },
  modules: { readonly destination: DestinationStream; readonly clock: Clock },
): Log {
  const out = pino(
    {
      level: options.level,
      base: options.fields,
      messageKey: "message",
      formatters: { level: (label) => ({ level: label }) },
      timestamp: () => `,"time":"${new Date(modules.clock.now()).toISOString()}"`,
    },
    modules.destination,
  );
  const write =
    (level: Exclude<LogLevel, "trace">) =>
    (message: string, context: LogContext = {}) => {
      if (!out.isLevelEnabled(level)) return;
      out[level](loggable(context), message);
    };
  return { debug: write("debug"), info: write("info"), warn: write("warn"), error: write("error") };
}

/** `context` as it may be written: no secrets, no raw bytes, bounded in depth and size. */
export function loggable(context: LogContext): Record<string, unknown> {
  return objectOf(context, 0);
}

function objectOf(value: object, depth: number): Record<string, unknown> {
  const entries = Object.entries(value).slice(0, MAX_ITEMS);
  return Object.fromEntries(
    entries.map(([key, field]) => [
      key,
      SECRET_FIELD.test(key) && field !== null ? REDACTED : plain(field, depth + 1),
    ]),
  );
}

function plain(value: unknown, depth: number): unknown {
  if (typeof value === "string") return text(value);
  if (typeof value === "bigint") return value.toString();
  if (typeof value !== "object" || value === null) return value;
  if (ArrayBuffer.isView(value) || value instanceof ArrayBuffer) return `<${value.byteLength} bytes>`;
  if (depth > MAX_DEPTH) return "…";
  if (value instanceof Error) return errorOf(value, depth);
  if (Array.isArray(value)) return value.slice(0, MAX_ITEMS).map((item) => plain(item, depth + 1));
  if (value instanceof Map || value instanceof Set) return plain([...value], depth);
  if (value instanceof Date) return value.toISOString();
  return objectOf(value, depth);
}

function errorOf(error: Error, depth: number): Record<string, unknown> {
  const known = isCairnError(error);
  return {
    name: error.name,
    ...(known ? { code: error.code, data: objectOf(error.data, depth) } : {}),
    message: text(error.message),
    ...(known || error.stack === undefined ? {} : { stack: text(error.stack) }),
    ...(error.cause === undefined ? {} : { cause: plain(error.cause, depth + 1) }),
  };
}

function text(value: string): string {
  const clean = value.replace(SECRET_TEXT, REDACTED);
  return clean.length > MAX_TEXT ? `${clean.slice(0, MAX_TEXT)}…` : clean;
}
