// What the document says of texts and Zod has no word for.

/** Whether a text has `least` to `most` characters, as the API counts them: code points, not UTF-16's units. */
export const hasLength = (least: number, most: number) => (text: string): boolean => {
  const length = [...text].length;
  return least <= length && length <= most;
};

/** Whether a text is Unicode, and in its normalization form C. */
export const isNormal = (text: string): boolean => text.isWellFormed() && text.normalize('NFC') === text;

/** Whether a name is one of a time zone, as `Europe/Berlin`, to this machine. An offset is none. */
export const isZone = (name: string): boolean => {
  if (!/^[A-Za-z]/.test(name)) return false;
  try {
    new Intl.DateTimeFormat('en', { timeZone: name });
    return true;
  } catch {
    return false;
  }
};
