import { AppError, compileGlob, type Session } from '../../platform/index.ts';
import { type Webhook, type WebhookSettings, webhooksOf } from './store.ts';
import { eventsOf } from './words.ts';

const MOST = 100;

/** Throws for settings that make no sense together, or a name that the place has already. */
export async function checkSettings(tx: Session, placeId: number | null, settings: WebhookSettings, changed?: Webhook): Promise<void> {
  const { name, format, events, repositories, tags } = settings;
  const untold = events.find((event) => !eventsOf(format).includes(event));
  if (untold !== undefined) throw new AppError('bad_request', `the format ${format} cannot tell of ${untold}`);
  for (const pattern of [repositories, tags]) {
    try {
      if (pattern !== '') compileGlob(pattern);
    } catch (cause) {
      throw new AppError('bad_request', `${pattern}: ${(cause as Error).message}`, { cause });
    }
  }
  const others = (await webhooksOf(tx, placeId)).filter(({ id }) => id !== changed?.id);
  if (others.some((other) => other.name === name)) throw new AppError('conflict', `there is a webhook ${name} already`);
  if (others.length >= MOST) throw new AppError('conflict', `there are ${MOST} webhooks already`);
}

/** Whether an address leads to another server than the one before. */
export function leadsElsewhere(url: string, before: string): boolean {
  return new URL(url).origin !== new URL(before).origin;
}

/** Throws for an address that no URL can be. */
export function checkUrl(url: string): void {
  if (!URL.canParse(url)) throw new AppError('bad_request', 'the address cannot be called');
}
