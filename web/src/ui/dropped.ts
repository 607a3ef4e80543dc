/** What was dropped: files, and those that lie in folders, by name. */

/** Such as `.DS_Store`, which nobody means. */
const HIDDEN = /^\./;

export async function filesOf(transfer: DataTransfer): Promise<{ files: File[]; folders: string[] }> {
  // Entries are to be had during the event alone; what is in them may be asked for later.
  const entries = [...transfer.items].filter(({ kind }) => kind === 'file').map((item) => item.webkitGetAsEntry());
  const plain = [...transfer.files];
  const files: File[] = [];
  const folders: string[] = [];
  for (const [at, entry] of entries.entries()) {
    if (entry?.isDirectory) {
      folders.push(entry.name);
      files.push(...(await inFolder(entry as FileSystemDirectoryEntry)));
    } else if (plain[at]) {
      files.push(plain[at]);
    }
  }
  return { files, folders };
}

async function inFolder(folder: FileSystemDirectoryEntry): Promise<File[]> {
  const found: File[] = [];
  for (const entry of await listed(folder)) {
    if (HIDDEN.test(entry.name)) continue;
    if (entry.isDirectory) found.push(...(await inFolder(entry as FileSystemDirectoryEntry)));
    else found.push(await opened(entry as FileSystemFileEntry));
  }
  return found;
}

/** Readers hand over a hundred entries at a time, and none when there are no more. */
async function listed(folder: FileSystemDirectoryEntry): Promise<FileSystemEntry[]> {
  const reader = folder.createReader();
  const all: FileSystemEntry[] = [];
  for (;;) {
    const some = await new Promise<FileSystemEntry[]>((resolve, reject) => reader.readEntries(resolve, reject));
    if (some.length === 0) return all.sort((one, other) => one.name.localeCompare(other.name, undefined, { numeric: true }));
    all.push(...some);
  }
}

function opened(entry: FileSystemFileEntry): Promise<File> {
  return new Promise((resolve, reject) => entry.file(resolve, reject));
}
