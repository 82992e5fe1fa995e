import Type, { type Static } from 'typebox';
import { AppError, listOf, type Route, requireMatch, routesFor, type Session } from '../../platform/index.ts';
import type { Identity } from '../identity.ts';
import { CONDITION_LENGTH, readCondition } from './conditions.ts';
import { checkIssuer } from './issuer-keys.ts';
import { ROBOT_HOMES, type RobotHome, type RobotParts, requireHoldsAll, requireSameRights, robotOfPath } from './robot-home.ts';
import { type Robot, robotResource } from './robots.ts';
import { shownTime, Time } from './times.ts';
import { TRUST_PRESETS } from './trust-presets.ts';
import {
  changeTrustRule,
  createTrustRule,
  deleteTrustRule,
  requireTrustRule,
  type TrustRule,
  trustRuleEtag,
  trustRulesOf,
} from './trust-rules.ts';
import { readKeySet } from './verification-keys.ts';

const Condition = Type.String({
  minLength: 1,
  maxLength: CONDITION_LENGTH,
  description: 'CEL over claims; it must name at least one of them',
});
const Audience = Type.String({
  minLength: 1,
  maxLength: 255,
  description: 'whom the tokens must be for; best the address of this registry',
});
const Jwks = Type.Union([Type.String({ maxLength: 65_536 }), Type.Null()], {
  description: 'text of a JSON Web Key Set; null: the keys that the issuer publishes',
});

const RuleView = Type.Object({
  id: Type.Integer(),
  name: Type.String(),
  issuer: Type.String(),
  audience: Type.String(),
  jwks: Jwks,
  condition: Condition,
  disabled: Type.Boolean(),
  createdAt: Time,
  createdBy: Type.String(),
});
const NewRule = Type.Object(
  {
    name: Type.String({ pattern: '^[a-z0-9]+([-_][a-z0-9]+)*$', maxLength: 63 }),
    issuer: Type.String({ maxLength: 512, description: 'as it stands in the claim iss' }),
    audience: Audience,
    jwks: Type.Optional(Jwks),
    condition: Condition,
    disabled: Type.Optional(Type.Boolean({ default: false })),
  },
  { additionalProperties: false },
);
const RuleChange = Type.Object(
  {
    audience: Type.Optional(Audience),
    jwks: Type.Optional(Jwks),
    condition: Type.Optional(Condition),
    disabled: Type.Optional(Type.Boolean()),
  },
  { additionalProperties: false },
);
const Preset = Type.Object({ name: Type.String(), description: Type.String(), issuer: Type.String(), condition: Type.String() });

function viewOf({ id, name, issuer, audience, jwks, condition, disabled, createdAt, createdBy }: TrustRule): Static<typeof RuleView> {
  return { id, name, issuer, audience, jwks, condition, disabled, createdAt: shownTime(createdAt), createdBy };
}

/** Throws `bad_request` for a rule that could not work, or that everybody would meet. */
async function check({ issuer, jwks, condition }: Partial<Pick<TrustRule, 'issuer' | 'jwks' | 'condition'>>): Promise<void> {
  try {
    if (issuer !== undefined) checkIssuer(issuer);
    if (typeof jwks === 'string') await readKeySet(JSON.parse(jwks), { strict: true });
  } catch (cause) {
    throw new AppError('bad_request', `the issuer or its keys: ${(cause as Error).message}`, { cause });
  }
  if (condition === undefined) return;
  if ((await readCondition(condition, ['claims'])).fieldsOf('claims').length === 0) {
    throw new AppError('bad_request', 'the condition names no claim, so that everybody who has a token of the issuer would meet it');
  }
}

const resourceOf = ({ name }: Robot, rule: TrustRule) => ({ ...robotResource(name), type: 'trust-rule', name: `${name}/${rule.name}` });
const { read, change } = routesFor<Identity>();

/** Trust rules of robots: whose tokens prove to be one. */
export function trustRuleRoutes(parts: RobotParts): Route[] {
  return [
    read({
      method: 'GET',
      path: '/trust-rule-presets',
      summary: 'List issuers that many use, with conditions to begin from',
      tag: 'Trust rules',
      permission: 'login',
      answer: listOf(Preset),
      handle: async () => ({ body: { items: TRUST_PRESETS.map((preset) => ({ ...preset })) } }),
    }),
    ...ROBOT_HOMES.flatMap((home) => routesAt(parts, home)),
  ];
}

function routesAt(parts: RobotParts, { path, where, ofRobot, ofPart }: RobotHome): Route[] {
  const { database } = parts;
  const base = `${path}/:robot/trust-rules`;
  const tag = 'Trust rules';
  const ruleOf = async (session: Session, params: Static<typeof ofPart>) => {
    const robot = await robotOfPath(session, params);
    return { robot, rule: await requireTrustRule(session, robot.id, params.id) };
  };

  return [
    read({
      method: 'GET',
      path: base,
      summary: `List the trust rules of a robot ${where}`,
      tag,
      permission: 'robot:read',
      params: ofRobot,
      answer: listOf(RuleView),
      async handle({ params }) {
        const robot = await robotOfPath(database, params);
        return { body: { items: (await trustRulesOf(database, robot.id)).map(viewOf) } };
      },
    }),
    read({
      method: 'GET',
      path: `${base}/:id`,
      summary: `Read a trust rule of a robot ${where}`,
      tag,
      permission: 'robot:read',
      params: ofPart,
      answer: RuleView,
      async handle({ params }) {
        const { rule } = await ruleOf(database, params);
        return { body: viewOf(rule), etag: trustRuleEtag(rule) };
      },
    }),
    change({
      method: 'POST',
      path: base,
      summary: `Trust an issuer to say who is a robot ${where}`,
      description: 'The caller must hold all that the robot may.',
      tag,
      permission: 'robot:manage',
      audit: 'trust-rule.create',
      params: ofRobot,
      body: NewRule,
      answer: RuleView,
      status: 201,
      async prepare({ params, body, caller }) {
        await check(body);
        return await requireHoldsAll(parts, caller, params);
      },
      async change(tx, { params, body, caller, now }, rights) {
        const robot = await robotOfPath(tx, params);
        await requireSameRights(tx, robot, rights);
        const { jwks = null, disabled = false, ...rest } = body;
        const rule = await createTrustRule(tx, { ...rest, jwks, disabled, robotId: robot.id, by: caller.actor.name, now });
        return { body: viewOf(rule), etag: trustRuleEtag(rule), resource: resourceOf(robot, rule), after: viewOf(rule) };
      },
    }),
    change({
      method: 'PATCH',
      path: `${base}/:id`,
      summary: `Change a trust rule of a robot ${where}, which voids what was issued before`,
      description: 'The caller must hold all that the robot may.',
      tag,
      permission: 'robot:manage',
      audit: 'trust-rule.update',
      params: ofPart,
      body: RuleChange,
      answer: RuleView,
      async prepare({ params, body, caller }) {
        await check(body);
        return await requireHoldsAll(parts, caller, params);
      },
      async change(tx, call, rights) {
        const { robot, rule } = await ruleOf(tx, call.params);
        requireMatch(call, trustRuleEtag(rule));
        await requireSameRights(tx, robot, rights);
        const changed = await changeTrustRule(tx, rule, call.body);
        return {
          body: viewOf(changed),
          etag: trustRuleEtag(changed),
          resource: resourceOf(robot, rule),
          before: viewOf(rule),
          after: viewOf(changed),
        };
      },
    }),
    change({
      method: 'DELETE',
      path: `${base}/:id`,
      summary: `Delete a trust rule of a robot ${where}, which voids what was issued by it`,
      tag,
      permission: 'robot:manage',
      audit: 'trust-rule.delete',
      params: ofPart,
      async change(tx, call) {
        const { robot, rule } = await ruleOf(tx, call.params);
        requireMatch(call, trustRuleEtag(rule));
        await deleteTrustRule(tx, rule.id);
        return { resource: resourceOf(robot, rule), before: viewOf(rule) };
      },
    }),
  ];
}
