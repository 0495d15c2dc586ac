export * from "./authority.ts";
export * from "./certificate-expiry.ts";
export * from "./key-file.ts";
export * from "./node-name.ts";
export { certificateFromPem, certificateToPem } from "./pem.ts";
export * from "./revocation-list.ts";
export * from "./verify-node-certificate.ts";
