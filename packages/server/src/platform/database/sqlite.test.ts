import { databaseContract } from './contract.ts';
import { sqliteData } from './testing.ts';

databaseContract('SQLite', sqliteData);
