// What the browser keeps: chats in IndexedDB, settings in localStorage, and the API key in this tab only.
import { type DBSchema, type IDBPDatabase, openDB } from "idb";
import type { Chat } from "./chat";

/** Chats that are kept; the least recently used are deleted. */
export const MOST_CHATS = 200;

interface Schema extends DBSchema {
  chats: { key: string; value: Chat; indexes: { updated: number } };
}

export type Summary = Pick<Chat, "id" | "title" | "updated">;

let database: Promise<IDBPDatabase<Schema>> | undefined;

function open(): Promise<IDBPDatabase<Schema>> {
  database ??= openDB<Schema>("realizar", 1, {
    upgrade(db) {
      db.createObjectStore("chats", { keyPath: "id" }).createIndex("updated", "updated");
    },
  });
  return database;
}

/** Returns all chats, the most recently used first. */
export async function allChats(): Promise<Chat[]> {
  const db = await open();
  return (await db.getAllFromIndex("chats", "updated")).reverse();
}

/** Stores a chat; returns whether others had to be deleted for it. */
export async function saveChat(chat: Chat): Promise<boolean> {
  const transaction = (await open()).transaction("chats", "readwrite");
  await transaction.store.put(chat);
  let excess = (await transaction.store.count()) - MOST_CHATS;
  const hasExcess = excess > 0;
  for (let cursor = await transaction.store.index("updated").openCursor(); cursor && excess > 0; excess--) {
    await cursor.delete();
    cursor = await cursor.continue();
  }
  await transaction.done;
  return hasExcess;
}

export async function deleteChat(id: string): Promise<void> {
  await (await open()).delete("chats", id);
}

export async function deleteAllChats(): Promise<void> {
  await (await open()).clear("chats");
}

/** Returns a value of a store; null if there is none, or the browser has no storage for this page. */
export function stored<T>(store: () => Storage, name: string): T | null {
  try {
    return JSON.parse(store().getItem(`realizar.${name}`) ?? "null") as T | null;
  } catch {
    return null;
  }
}

/** Stores a value, or removes it if it is null; where the browser has no storage, it lasts as long as the page. */
export function store(store: () => Storage, name: string, value: unknown): void {
  try {
    if (value === null) store().removeItem(`realizar.${name}`);
    else store().setItem(`realizar.${name}`, JSON.stringify(value));
  } catch {
    // Private windows of some browsers refuse; nothing is lost but the memory of it.
  }
}

export const forever = (): Storage => localStorage;
export const inThisTab = (): Storage => sessionStorage;
