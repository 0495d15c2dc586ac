import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);

/** An authority of a test's own, made with the openssl command, and what it certifies. */
export class LoopbackCertificates {
  readonly folder: string;

  private constructor(folder: string) {
    this.folder = folder;
  }

  static async create(): Promise<LoopbackCertificates> {
    const made = new LoopbackCertificates(await mkdtemp(join(tmpdir(), "cairn-certificates-")));
    await run("openssl", [
      ...[
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "2",
      ],
      ...["-subj", "/CN=test authority", "-keyout", made.path("ca.key"), "-out", made.path("ca.pem")],
    ]);
    return made;
  }

  path(name: string): string {
    return join(this.folder, name);
  }

  read(name: string): Promise<Uint8Array> {
    return readFile(this.path(name));
  }

  /** Writes `<name>.pem` and `<name>.key`. @param host IP address that a server listens at */
  async issue(name: string, host = "127.0.0.1"): Promise<void> {
    const [extensions, request] = [this.path(`${name}.ext`), this.path(`${name}.csr`)];
    await writeFile(extensions, `subjectAltName=IP:${host}\nextendedKeyUsage=serverAuth,clientAuth\n`);
    await run("openssl", [
      ...["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"],
      ...["-subj", `/CN=${name}`, "-keyout", this.path(`${name}.key`), "-out", request],
    ]);
    await run("openssl", [
      ...["x509", "-req", "-in", request, "-CA", this.path("ca.pem"), "-CAkey", this.path("ca.key")],
      ...["-CAcreateserial", "-days", "1", "-extfile", extensions, "-out", this.path(`${name}.pem`)],
    ]);
  }

  async remove(): Promise<void> {
    await rm(this.folder, { recursive: true, force: true });
  }
}
