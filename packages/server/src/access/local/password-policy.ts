import { verify } from '@node-rs/argon2';
import { AppError, type Session } from '../../platform/index.ts';
import { PASSWORD_MAX_LENGTH } from '../passwords.ts';
import { isGuessable } from './guessable.ts';
import { formerPasswords } from './user-store.ts';

export interface PasswordRules {
  readonly passwordMinLength: number;
  /** How many of lower case, upper case, digits and others a password must have. */
  readonly passwordClasses: number;
  /** How many former passwords may not be taken again. */
  readonly passwordHistory: number;
}

/** Whom a password is for. */
export interface Owner {
  readonly name: string;
  readonly email: string;
  readonly fullName: string;
}

const CLASSES = [/\p{Ll}/u, /\p{Lu}/u, /\p{Nd}/u, /[^\p{Ll}\p{Lu}\p{Nd}]/u];

/** Throws `password_rejected` for a password that the rules do not allow. */
export function checkPassword(rules: PasswordRules, password: string, { name, email, fullName }: Owner): void {
  const { passwordMinLength: least, passwordClasses: classes } = rules;
  const length = Array.from(password).length;
  if (length < least || password.length > PASSWORD_MAX_LENGTH) {
    throw rejected(`a password has ${least} to ${PASSWORD_MAX_LENGTH} characters`);
  }
  if (CLASSES.filter((kind) => kind.test(password)).length < classes) {
    throw rejected(`a password has ${classes} of: lower case, upper case, digits, other characters`);
  }
  const personal = [name, email.split('@', 1)[0] ?? '', ...fullName.split(/\s+/)].filter((word) => word.length >= 3);
  const folded = password.toLowerCase();
  if (name.length >= 3 && folded.includes(name)) throw rejected('a password does not hold the name of its user');
  if (isGuessable(password, personal)) throw rejected('this is one of the first passwords that are guessed');
}

/** Throws `password_rejected` for a password that the user has, or had not long ago. */
export async function checkNew(
  rules: PasswordRules,
  session: Session,
  password: string,
  { id, passwordHash }: { readonly id: number; readonly passwordHash: string },
): Promise<void> {
  const { passwordHistory: kept } = rules;
  if (kept === 0) return;
  for (const hash of [passwordHash, ...(await formerPasswords(session, id, kept))]) {
    if (hash !== '' && (await verify(hash, password))) throw rejected('the password was used before');
  }
}

function rejected(message: string): AppError {
  return new AppError('password_rejected', message);
}
