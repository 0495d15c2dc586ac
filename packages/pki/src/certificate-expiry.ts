import type { UnixMs } from "@cairn/core";
import { parseCertificate } from "./pem.ts";

/** How a certificate stands in time. */
export interface CertificateExpiry {
  readonly notBefore: UnixMs;
  readonly notAfter: UnixMs;
  readonly remainingMs: number;
  /** `renew` in the last third of its life. */
  readonly state: "not-yet-valid" | "valid" | "renew" | "expired";
}

/** @param certificate DER */
export function certificateExpiry(certificate: Uint8Array, now: number): CertificateExpiry {
  const parsed = parseCertificate(certificate);
  const notBefore = parsed.validFromDate.getTime() as UnixMs;
  const notAfter = parsed.validToDate.getTime() as UnixMs;
  const remainingMs = notAfter - now;
  const state =
    now < notBefore
      ? "not-yet-valid"
      : remainingMs <= 0
        ? "expired"
        : remainingMs < (notAfter - notBefore) / 3
          ? "renew"
          : "valid";
  return { notBefore, notAfter, remainingMs, state };
}
