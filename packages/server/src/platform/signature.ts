import { createHmac } from 'node:crypto';

export const SIGNATURE_HEADER = 'X-Entrepot-Signature';

/**
 * `t=<seconds since 1970>,v1=<hex>`: HMAC-SHA256 of `<t>.<body>`, with a `v1` for each secret that is live. The time is under the
 * signature, so that a receiver can refuse what somebody recorded and sends again.
 */
export function signatureOf(secrets: readonly string[], body: string, now: number): string {
  const time = Math.floor(now / 1000);
  const values = secrets.map((secret) => `v1=${createHmac('sha256', secret).update(`${time}.${body}`).digest('hex')}`);
  return [`t=${time}`, ...values].join(',');
}
