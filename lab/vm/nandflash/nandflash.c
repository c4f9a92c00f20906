// A NAND flash chip for power cuts: pages of 2048 bytes in blocks of 64, in memory
// that outlives the machine. A page is programmed whole and once after its block was
// erased; each page has a byte that says how far it is. What a cut leaves half
// programmed or half erased cannot be read: the error correction fails (EBADMSG).
// It has no bad blocks, and no page that reads well once and badly later.
//
// Debian's kernel has nothing of the kind: nandsim forgets, and UBI does not take phram.

#include <linux/io.h>
#include <linux/module.h>
#include <linux/mtd/mtd.h>
#include <linux/slab.h>

enum { PAGE = 2048, PAGES = 64, BLOCK = PAGE * PAGES, BLOCKS = 60 };
enum { ERASED = 0xff, BEGUN = 0x7f, PROGRAMMED = 0x3f };

static unsigned long start;
module_param(start, ulong, 0444);
MODULE_PARM_DESC(start, "physical address of 8 MiB of memory");

static u8 *memory; // the pages
static u8 *state;  // a byte for each
static struct mtd_info chip;

static void mark(size_t page, u8 s)
{
	mb();
	WRITE_ONCE(state[page], s);
	mb();
}

static int chip_read(struct mtd_info *mtd, loff_t from, size_t len, size_t *retlen, u_char *buf)
{
	int err = 0;
	size_t page;

	for (page = from / PAGE; page <= (from + len - 1) / PAGE; page++)
		if (state[page] != ERASED && state[page] != PROGRAMMED) {
			mtd->ecc_stats.failed++;
			err = -EBADMSG;
		}
	memcpy(buf, memory + from, len);
	*retlen = len;
	return err;
}

static int chip_write(struct mtd_info *mtd, loff_t to, size_t len, size_t *retlen, const u_char *buf)
{
	if (to % PAGE || len % PAGE)
		return -EINVAL;
	for (; *retlen < len; *retlen += PAGE) {
		size_t page = (to + *retlen) / PAGE;

		if (state[page] != ERASED) {
			pr_err("nandflash: page %zu is programmed twice\n", page);
			return -EIO;
		}
		mark(page, BEGUN);
		memcpy(memory + to + *retlen, buf + *retlen, PAGE);
		mark(page, PROGRAMMED);
	}
	return 0;
}

static int chip_erase(struct mtd_info *mtd, struct erase_info *e)
{
	u64 block;
	size_t page;

	for (block = e->addr / BLOCK; block < (e->addr + e->len) / BLOCK; block++) {
		for (page = block * PAGES; page < (block + 1) * PAGES; page++)
			mark(page, BEGUN);
		memset(memory + block * BLOCK, 0xff, BLOCK);
		for (page = block * PAGES; page < (block + 1) * PAGES; page++)
			mark(page, ERASED);
	}
	return 0;
}

static int __init nandflash_init(void)
{
	int err;

	memory = memremap(start, 8 << 20, MEMREMAP_WB);
	if (!memory)
		return -ENOMEM;
	state = memory + BLOCKS * BLOCK;
	chip.name = "nand";
	chip.type = MTD_NANDFLASH;
	chip.flags = MTD_CAP_NANDFLASH;
	chip.size = BLOCKS * BLOCK;
	chip.erasesize = BLOCK;
	chip.writesize = PAGE;
	chip.writebufsize = PAGE;
	chip.ecc_strength = 1;
	chip.ecc_step_size = PAGE;
	chip.owner = THIS_MODULE;
	chip._read = chip_read;
	chip._write = chip_write;
	chip._erase = chip_erase;
	err = mtd_device_register(&chip, NULL, 0);
	if (err)
		memunmap(memory);
	return err;
}

static void __exit nandflash_exit(void)
{
	WARN_ON(mtd_device_unregister(&chip));
	memunmap(memory);
}

module_init(nandflash_init);
module_exit(nandflash_exit);
MODULE_LICENSE("Dual MIT/GPL");
MODULE_DESCRIPTION("NAND flash in memory, for power cuts");
