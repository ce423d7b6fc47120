// What the tests of all Node clients share: the server's address, and what the scripted model answers.
import { z } from "zod";

export const url = process.env.REALIZAR_URL;
export const v1 = `${url}/v1`;
export const key = process.env.REALIZAR_KEY;
export const MODEL = "scripted";
export const ANSWER = "The capital of Italy is Rome, as you know.";
export const DEGREES = "It is 17 degrees in Oslo.";
export const QUESTION = "Which is the capital of Italy?";
export const WARM = "How warm is it in Oslo?";
export const TOO_LONG = "one two three four ".repeat(8192);
export const ITALY = { name: "Rome", country: "Italy" };
export const City = z.object({ name: z.string(), country: z.string() });
export const Place = z.object({ city: z.string() });
