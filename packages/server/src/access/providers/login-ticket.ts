import { createHash } from 'node:crypto';
import { queriesOf, type Seal, type Session } from '../../platform/index.ts';
import type { ProviderTables } from './schema.ts';

const query = queriesOf<ProviderTables>('providers');

const insertLogin = query<{ hash: string; expires: number }>()('insertOidcLogin', (db, p) =>
  db
    .insertInto('oidc_login')
    .values({ hash: p('hash'), expires_at: p('expires') })
    .onConflict((conflict) => conflict.column('hash').doNothing()),
);
const deleteEnded = query<{ now: number }>()('deleteEndedOidcLogins', (db, p) =>
  db.deleteFrom('oidc_login').where('expires_at', '<=', p('now')),
);

/** A login that was begun, as the browser carries it: sealed, so that it is neither read nor made there. */
export interface Ticket {
  readonly providerId: number;
  readonly state: string;
  readonly nonce: string;
  readonly verifier: string;
  /** Where the browser goes in the end; always a path of this server. */
  readonly target: string;
  readonly expires: number;
}

const COOKIE = 'entrepot_oidc';
const PATH = '/api/v1/oidc/';
export const TICKET_MS = 10 * 60_000;
const PLACE = 'oidc-login';

export function ticketCookie(seal: Seal, ticket: Ticket, baseUrl: string): string {
  return cookie(seal.seal(JSON.stringify(ticket), PLACE), TICKET_MS / 1000, baseUrl);
}

export function clearTicket(baseUrl: string): string {
  return cookie('', 0, baseUrl);
}

/** Lax, as the browser comes back from another site; the sealed state says that it is the one that left. */
function cookie(value: string, seconds: number, baseUrl: string): string {
  const secure = baseUrl.startsWith('https:') ? '; Secure' : '';
  return `${COOKIE}=${value}; Path=${PATH}; HttpOnly; SameSite=Lax; Max-Age=${seconds}${secure}`;
}

/** The login that a browser has begun; undefined where there is none, it has ended, or there are two of them. */
export function readTicket(seal: Seal, header: string | string[] | undefined, now: number): Ticket | undefined {
  const values = String(header ?? '')
    .split(';')
    .map((part) => part.trim())
    .filter((part) => part.startsWith(`${COOKIE}=`))
    .map((part) => part.slice(COOKIE.length + 1));
  const [value = ''] = values;
  if (values.length !== 1) return undefined;
  try {
    const ticket = JSON.parse(seal.open(value, PLACE)) as Ticket;
    return ticket.expires > now ? ticket : undefined;
  } catch {
    return undefined;
  }
}

/** Uses a ticket up; false where it was used before. */
export async function useTicket(tx: Session, { state, expires }: Ticket, now: number): Promise<boolean> {
  await tx.run(deleteEnded, { now });
  return (await tx.run(insertLogin, { hash: createHash('sha256').update(state).digest('hex'), expires })) === 1;
}

const ORIGIN = 'http://here.invalid';

/** A path of this server to lead a browser to; undefined for anything that could lead elsewhere. */
export function localTarget(target: string): string | undefined {
  // Browsers read `\` as `/` and drop tabs and line ends; what stands for another host then is none of ours.
  if (!/^\/(?![/\\])[\x21-\x7e]*$/.test(target) || target.includes('\\')) return undefined;
  const url = URL.parse(target, ORIGIN);
  if (url?.origin !== ORIGIN || url.pathname.startsWith('//')) return undefined;
  return url.pathname + url.search + url.hash;
}
