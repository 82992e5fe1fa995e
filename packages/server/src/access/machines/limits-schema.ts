import Type from 'typebox';
import { ALL_PERMISSIONS } from '../permissions.ts';

const MAX_LIMITS = 50;
const MAX_PATTERNS = 20;

export const Permissions = Type.Array(Type.Enum(ALL_PERMISSIONS), { minItems: 1, maxItems: ALL_PERMISSIONS.length, uniqueItems: true });
export const Pattern = Type.String({ minLength: 1, maxLength: 512, description: 'glob over full repository names, such as demo/app-*' });

export const LimitsSchema = Type.Array(
  Type.Object(
    {
      project: Type.Optional(Type.String({ minLength: 1, maxLength: 128, description: 'absent: the system and every project' })),
      repositories: Type.Optional(Type.Array(Pattern, { minItems: 1, maxItems: MAX_PATTERNS })),
      permissions: Permissions,
    },
    { additionalProperties: false },
  ),
  { minItems: 1, maxItems: MAX_LIMITS, description: 'what the key may at most; its owner must hold it as well' },
);
