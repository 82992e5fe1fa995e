import Type, { type TInteger, type TObject, type TOptional, type TString } from 'typebox';
import { findProject } from '../../catalog/index.ts';
import { AppError, type Session } from '../../platform/index.ts';
import { findWebhookIn, type Webhook } from './store.ts';

const Project = { project: Type.String({ maxLength: 128 }) };
const One = { webhook: Type.Integer({ minimum: 1 }) };
const Part = { delivery: Type.Integer({ minimum: 1 }) };

/** Where webhooks stand: the same handlers serve those of projects, and of the system, where the project is absent. */
export interface WebhookPlace {
  /** Path of the list. */
  readonly path: string;
  /** For people. */
  readonly where: string;
  readonly seen: 'webhook:read' | 'system:read';
  readonly managed: 'webhook:manage' | 'system:update';
  readonly ofPlace: TObject<{ project: TOptional<TString> }>;
  readonly ofWebhook: TObject<{ project: TOptional<TString>; webhook: TInteger }>;
  readonly ofDelivery: TObject<{ project: TOptional<TString>; webhook: TInteger; delivery: TInteger }>;
}

type Names = Pick<WebhookPlace, 'path' | 'where' | 'seen' | 'managed'>;

function place(names: Names, outer: Partial<typeof Project>): WebhookPlace {
  const schemas = {
    ofPlace: Type.Object(outer),
    ofWebhook: Type.Object({ ...outer, ...One }),
    ofDelivery: Type.Object({ ...outer, ...One, ...Part }),
  };
  return { ...names, ...(schemas as unknown as Pick<WebhookPlace, 'ofPlace' | 'ofWebhook' | 'ofDelivery'>) };
}

export const PLACES: readonly WebhookPlace[] = [
  place({ path: '/webhooks', where: 'of the system', seen: 'system:read', managed: 'system:update' }, {}),
  place({ path: '/projects/:project/webhooks', where: 'of a project', seen: 'webhook:read', managed: 'webhook:manage' }, Project),
];

/** Id of the project of a path; null: the system. Throws `not_found` where there is none. */
export async function placeIdOf(session: Session, { project }: { readonly project?: string }): Promise<number | null> {
  if (project === undefined) return null;
  const found = await findProject(session, project);
  if (!found) throw new AppError('not_found', `there is no project ${project}`);
  return found.id;
}

/** The webhook of a path. Throws `not_found` where it is none of that place. */
export async function requireWebhook(session: Session, params: { readonly project?: string; readonly webhook: number }): Promise<Webhook> {
  const found = await findWebhookIn(session, await placeIdOf(session, params), params.webhook);
  if (!found) throw new AppError('not_found', `there is no webhook ${params.webhook}`);
  return found;
}
