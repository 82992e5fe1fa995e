import Type from 'typebox';
import { CONDITION_LENGTH } from '../machines/conditions.ts';
import { FACTS } from './policy-document.ts';

const PolicyStatement = Type.Object(
  {
    effect: Type.Enum(['allow', 'deny']),
    actions: Type.Array(Type.String({ pattern: '^(\\*|[a-z]+:(\\*|[a-z]+))$', maxLength: 64 }), {
      minItems: 1,
      maxItems: 64,
      description: 'permissions; repository:* for all of a kind, * for all',
    }),
    resources: Type.Array(Type.String({ pattern: '^(\\*|project:.+|repository:.+)$', maxLength: 524 }), {
      minItems: 1,
      maxItems: 50,
      description: 'repository:<glob over full names>, project:<glob over names>, which holds for all in it, or *',
    }),
    condition: Type.Optional(
      Type.String({ minLength: 1, maxLength: CONDITION_LENGTH, description: `CEL over ${FACTS.join(', ')}; must hold besides` }),
    ),
  },
  { additionalProperties: false },
);

/** A policy as a body brings it. */
export const PolicySchema = Type.Object(
  { statements: Type.Array(PolicyStatement, { minItems: 1, maxItems: 20 }) },
  { additionalProperties: false },
);
