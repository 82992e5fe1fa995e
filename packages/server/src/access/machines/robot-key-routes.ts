import { generateKeyPair, randomBytes } from 'node:crypto';
import { promisify } from 'node:util';
import Type, { type Static } from 'typebox';
import { AppError, listOf, type Route, routesFor } from '../../platform/index.ts';
import type { Identity } from '../identity.ts';
import { ROBOT_HOMES, type RobotHome, type RobotParts, requireHoldsAll, requireSameRights, robotOfPath } from './robot-home.ts';
import { addRobotKey, deleteRobotKey, type RobotKey, requireRobotKey, robotKeysOf } from './robot-keys.ts';
import { type Robot, robotResource } from './robots.ts';
import { Expiry, readExpiry, shownTime, Time } from './times.ts';
import { readKey } from './verification-keys.ts';

const part = Type.Optional(Type.String({ maxLength: 2048 }));
const PublicKey = Type.Object(
  { kty: Type.Enum(['OKP', 'EC', 'RSA']), crv: part, x: part, y: part, n: part, e: part, alg: part, use: part, kid: part },
  { additionalProperties: false, description: 'JSON Web Key; absent: a pair is made, and the answer holds its private half' },
);
const KeyFile = Type.Object(
  {
    type: Type.Enum(['entrepot_service_account']),
    robot: Type.String({ description: 'issuer and subject of what is signed' }),
    private_key_id: Type.String({ description: 'kid in the header of what is signed' }),
    private_key: Type.Optional(Type.String({ description: 'Ed25519, PKCS #8 in PEM' })),
    audience: Type.String({ description: 'audience of what is signed' }),
    token_uri: Type.String({ description: 'where it is exchanged for a token' }),
  },
  { description: 'the service-account key file; its private key is shown this once' },
);
const KeyView = Type.Object({
  id: Type.Integer(),
  keyId: Type.String(),
  publicKey: PublicKey,
  audience: Type.String(),
  expiresAt: Expiry,
  createdAt: Time,
  createdBy: Type.String(),
});
const MadeKey = Type.Object({ ...KeyView.properties, file: KeyFile });
const NewKey = Type.Object({ publicKey: Type.Optional(PublicKey), expiresAt: Type.Optional(Expiry) }, { additionalProperties: false });

const generate = promisify(generateKeyPair);

function viewOf({ id, kid, jwk, audience, expiresAt, createdAt, createdBy }: RobotKey): Static<typeof KeyView> {
  const publicKey = JSON.parse(jwk) as Static<typeof PublicKey>;
  return { id, keyId: kid, publicKey, audience, expiresAt: shownTime(expiresAt), createdAt: shownTime(createdAt), createdBy };
}

/** A key that the caller brought, or a new pair. Throws `bad_request` for what is no public key. */
async function keyFor(given: Static<typeof PublicKey> | undefined): Promise<{ jwk: string; pem?: string }> {
  if (given === undefined) {
    const { publicKey, privateKey } = await generate('ed25519');
    return {
      jwk: JSON.stringify(publicKey.export({ format: 'jwk' })),
      pem: privateKey.export({ format: 'pem', type: 'pkcs8' }).toString(),
    };
  }
  try {
    await readKey(given);
  } catch (cause) {
    throw new AppError('bad_request', `the key ${(cause as Error).message}`, { cause });
  }
  return { jwk: JSON.stringify(given) };
}

const resourceOf = ({ name }: Robot, { kid }: RobotKey) => ({ ...robotResource(name), type: 'robot-key', name: `${name}/${kid}` });
const { read, change } = routesFor<Identity>();

/** Keys of robots that sign for themselves, as service accounts do; only the public halves are kept. */
export function robotKeyRoutes(parts: RobotParts): Route[] {
  return ROBOT_HOMES.flatMap((home) => routesAt(parts, home));
}

function routesAt(parts: RobotParts, { path, where, ofRobot, ofPart }: RobotHome): Route[] {
  const { database } = parts;
  const base = `${path}/:robot/keys`;
  const tag = 'Robots';
  return [
    read({
      method: 'GET',
      path: base,
      summary: `List the service-account keys of a robot ${where}`,
      tag,
      permission: 'robot:read',
      params: ofRobot,
      answer: listOf(KeyView),
      async handle({ params }) {
        const robot = await robotOfPath(database, params);
        return { body: { items: (await robotKeysOf(database, robot.id)).map(viewOf) } };
      },
    }),
    change({
      method: 'POST',
      path: base,
      summary: `Make a service-account key file for a robot ${where}`,
      description: 'The caller must hold all that the robot may. The private key is shown this once, and kept nowhere.',
      tag,
      permission: 'robot:manage',
      audit: 'robot-key.create',
      params: ofRobot,
      body: NewKey,
      answer: MadeKey,
      status: 201,
      prepare: async ({ params, body, caller }) => ({
        rights: await requireHoldsAll(parts, caller, params),
        key: await keyFor(body.publicKey),
      }),
      async change(tx, { params, body, caller, now, baseUrl }, { rights, key: { jwk, pem } }) {
        const robot = await robotOfPath(tx, params);
        await requireSameRights(tx, robot, rights);
        const audience = `${baseUrl}/token`;
        const kid = randomBytes(16).toString('hex');
        const expiresAt = readExpiry(body.expiresAt, now);
        const key = await addRobotKey(tx, { robotId: robot.id, kid, jwk, audience, expiresAt, by: caller.actor.name, now });
        const view = viewOf(key);
        const file = { type: 'entrepot_service_account', robot: robot.name, private_key_id: kid, audience, token_uri: audience } as const;
        return {
          body: { ...view, file: pem === undefined ? file : { ...file, private_key: pem } },
          replay: { ...view, file },
          resource: resourceOf(robot, key),
          after: view,
        };
      },
    }),
    change({
      method: 'DELETE',
      path: `${base}/:id`,
      summary: `Delete a service-account key of a robot ${where}, which voids what was issued by it`,
      tag,
      permission: 'robot:manage',
      audit: 'robot-key.delete',
      params: ofPart,
      async change(tx, { params }) {
        const robot = await robotOfPath(tx, params);
        const key = await requireRobotKey(tx, robot.id, params.id);
        await deleteRobotKey(tx, key.id);
        return { resource: resourceOf(robot, key), before: viewOf(key) };
      },
    }),
  ];
}
