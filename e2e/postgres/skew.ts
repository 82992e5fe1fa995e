// Loaded before the server by NODE_OPTIONS: a host whose clock is wrong by SKEW_MS.
const skew = Number(process.env.SKEW_MS);
const right = Date.now;
const Right = Date;

class SkewedDate extends Right {
  constructor(...given: [] | [number]) {
    super(...(given.length === 0 ? ([right() + skew] as [number]) : given));
  }
  static override now(): number {
    return right() + skew;
  }
}
globalThis.Date = SkewedDate as unknown as DateConstructor;
console.log(`clock ${new Date().toISOString()}`);
