// The database of users and accounts.

import { PrismaPg } from "@prisma/adapter-pg";
import { PrismaClient } from "@/generated/prisma/client";

const kept = globalThis as { prisma?: PrismaClient };

kept.prisma ??= new PrismaClient({ adapter: new PrismaPg({ connectionString: process.env.DATABASE_URL }) });

/** One client per process, over hot reloads too. Connects when it is first used. */
export const { prisma } = kept;
