// SPDX-License-Identifier: GPL-2.0
/*
 * ums_fuzz: what of the driver is reached, by KCOV, and the sequences that
 * reached something new.  They are done again later, a little changed.
 */
#include "ums_fuzz.h"

#define KCOV		"/sys/kernel/debug/kcov"
#define KCOV_INIT_TRACE	_IOR('c', 1, unsigned long)
#define KCOV_ENABLE	_IO('c', 100)
#define KCOV_TRACE_PC	0
#define KCOV_WORDS	4096

void fuzz_cover_init(void)
{
	int fd = open(KCOV, O_RDWR);

	fuzz->kcov = fd >= 0;
	if (fd >= 0)
		close(fd);
}

/* The calling thread's own.  Without it the thread goes on all the same. */
void fuzz_cover_thread(struct fuzz_thread *t)
{
	size_t size = KCOV_WORDS * sizeof(unsigned long);
	void *area;

	if (!fuzz->kcov)
		return;
	t->kcov_fd = open(KCOV, O_RDWR | O_CLOEXEC);
	if (t->kcov_fd < 0)
		return;
	if (ioctl(t->kcov_fd, KCOV_INIT_TRACE, KCOV_WORDS))
		return;
	area = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, t->kcov_fd,
		    0);
	if (area == MAP_FAILED)
		return;
	if (ioctl(t->kcov_fd, KCOV_ENABLE, KCOV_TRACE_PC)) {
		munmap(area, size);
		return;
	}
	t->kcov = area;
}

/* Returns whether nobody has been there before. */
static bool is_new(unsigned long pc)
{
	unsigned int at = (pc * 0x9e3779b97f4a7c15UL) >> 49;

	for (int i = 0; i < 64; i++, at = (at + 1) % FUZZ_PCS) {
		unsigned long there = GET(fuzz->pcs[at]);

		if (!there &&
		    atomic_compare_exchange_strong(&fuzz->pcs[at], &there,
						   pc)) {
			atomic_fetch_add(&fuzz->nr_pcs, 1);
			return true;
		}
		if (there == pc)
			return false;
	}
	return false;
}

/* What the thread did last becomes an entry. */
static void keep(struct fuzz_thread *t)
{
	unsigned int max = ARRAY_SIZE(t->history);
	unsigned int nr = t->nr_history < max ? t->nr_history : max;
	unsigned int slot = atomic_fetch_add(&fuzz->nr_corpus, 1);
	struct fuzz_sequence *s = &fuzz->corpus[slot % FUZZ_CORPUS];

	s->nr = 0;
	for (unsigned int i = 0; i < nr; i++)
		s->ops[i] = t->history[(t->nr_history - nr + i) % max];
	s->nr = nr;
}

void fuzz_cover_begin(struct fuzz_thread *t, const struct fuzz_op *op)
{
	if (!t->kcov)
		return;
	t->history[t->nr_history++ % ARRAY_SIZE(t->history)] = *op;
	__atomic_store_n(&t->kcov[0], 0, __ATOMIC_RELAXED);
}

void fuzz_cover_end(struct fuzz_thread *t)
{
	unsigned long nr;
	bool new = false;

	if (!t->kcov)
		return;
	nr = __atomic_load_n(&t->kcov[0], __ATOMIC_RELAXED);
	for (unsigned long i = 1; i <= nr && i < KCOV_WORDS; i++)
		new |= is_new(t->kcov[i]);
	if (new)
		keep(t);
}

/* The next operation of a sequence that is done again; false if there is none. */
bool fuzz_corpus_next(struct fuzz_thread *t, struct fuzz_op *op)
{
	unsigned int have = GET(fuzz->nr_corpus);
	struct fuzz_sequence *s;
	__u64 what;

	if (!have)
		return false;
	if (have > FUZZ_CORPUS)
		have = FUZZ_CORPUS;
	what = fuzz_random(&t->rng);
	if (t->replay < 0) {
		/* As many are new as are done again. */
		if ((what & 0x3f) != 0)
			return false;
		t->replay = (what >> 8) % have;
		t->replay_at = 0;
	}
	s = &fuzz->corpus[t->replay];
	if (t->replay_at >= GET(s->nr)) {
		t->replay = -1;
		return false;
	}
	*op = s->ops[t->replay_at++];
	switch (what >> 32 & 15) {
	case 0:		/* another argument */
		op->pick = what >> 40;
		break;
	case 1:
		op->how ^= 1 << (what >> 40 & 7);
		break;
	case 2:
		op->b ^= 1UL << (what >> 40 & 63);
		break;
	case 3:		/* done twice */
		t->replay_at--;
		break;
	case 4:		/* left out */
		t->replay_at++;
		break;
	}
	return true;
}

void fuzz_corpus_load(void)
{
	FILE *file = fopen(fuzz->corpus_file, "r");
	struct fuzz_sequence s;

	if (!file)
		return;
	while (fread(&s, sizeof(s), 1, file) == 1) {
		unsigned int slot = GET(fuzz->nr_corpus);
		bool good = slot < FUZZ_CORPUS && s.nr <= FUZZ_SEQUENCE;

		for (unsigned int i = 0; good && i < s.nr; i++)
			good = s.ops[i].what < NR_OPS;
		if (good)
			fuzz->corpus[fuzz->nr_corpus++] = s;
	}
	fclose(file);
}

void fuzz_corpus_save(void)
{
	unsigned int nr = GET(fuzz->nr_corpus);
	FILE *file = fopen(fuzz->corpus_file, "w");

	if (!file) {
		perror(fuzz->corpus_file);
		return;
	}
	if (nr > FUZZ_CORPUS)
		nr = FUZZ_CORPUS;
	fwrite(fuzz->corpus, sizeof(fuzz->corpus[0]), nr, file);
	fclose(file);
}

/*
 * The covered places, as offsets in the module's text: what addr2line takes
 * with "-j .text -e ums.ko".
 */
void fuzz_cover_save(void)
{
	FILE *base = fopen("/sys/module/ums/sections/.text", "r");
	FILE *file = fopen(fuzz->pcs_file, "w");
	unsigned long text = 0;

	if (base && fscanf(base, "%lx", &text) != 1)
		text = 0;
	if (base)
		fclose(base);
	if (!file) {
		perror(fuzz->pcs_file);
		return;
	}
	for (int i = 0; i < FUZZ_PCS; i++)
		if (GET(fuzz->pcs[i]))
			fprintf(file, "%#lx\n", GET(fuzz->pcs[i]) - text);
	fclose(file);
}
