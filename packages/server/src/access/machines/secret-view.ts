import Type, { type Static } from 'typebox';
import type { KeySecret } from './access-keys.ts';
import { shownTime } from './times.ts';

const NullableTime = Type.Union([Type.String({ format: 'date-time' }), Type.Null()]);

/** A secret as it may be seen: when it was made and used, never what it is. */
export const SecretView = Type.Object({
  number: Type.Integer(),
  createdAt: Type.String({ format: 'date-time' }),
  endsAt: NullableTime,
  lastUsedAt: NullableTime,
  lastUsedFrom: Type.Union([Type.String(), Type.Null()]),
});

export function secretViews(secrets: readonly KeySecret[]): Static<typeof SecretView>[] {
  return secrets.map(({ number, createdAt, endsAt, lastUsedAt, lastUsedFrom }) => {
    return { number, createdAt: shownTime(createdAt), endsAt: shownTime(endsAt), lastUsedAt: shownTime(lastUsedAt), lastUsedFrom };
  });
}
