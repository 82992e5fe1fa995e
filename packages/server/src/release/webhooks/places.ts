import Type from 'typebox';
import { placeIdOf, placesOf } from '../../catalog/routes.ts';
import { AppError, type Session } from '../../platform/index.ts';
import { findWebhookIn, type Webhook } from './store.ts';

const Id = Type.Integer({ minimum: 1 });

const [ofSystem, ofProject] = placesOf('webhooks', (outer) => ({
  ofWebhook: Type.Object({ ...outer, webhook: Id }),
  ofDelivery: Type.Object({ ...outer, webhook: Id, delivery: Id }),
}));
/** Where webhooks stand, and the permissions by which they are seen and managed there. */
export const PLACES = [
  { ...ofSystem, seen: 'system:read', managed: 'system:update' },
  { ...ofProject, seen: 'webhook:read', managed: 'webhook:manage' },
] as const;
export type WebhookPlace = (typeof PLACES)[number];

/** The webhook of a path. Throws `not_found` where it is none of that place. */
export async function requireWebhook(session: Session, params: { readonly project?: string; readonly webhook: number }): Promise<Webhook> {
  const found = await findWebhookIn(session, await placeIdOf(session, params), params.webhook);
  if (!found) throw new AppError('not_found', `there is no webhook ${params.webhook}`);
  return found;
}
