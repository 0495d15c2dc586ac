/** A daemon that was started here has ended with this exit code, and has said why itself. */
export class DaemonExit extends Error {
  override readonly name = "DaemonExit";
  readonly exitCode: number;

  constructor(exitCode: number) {
    super(`the daemon ended with exit code ${exitCode}`);
    this.exitCode = exitCode;
  }
}
