/* Key tables lie with the tables, because aggregates (expr/) use them too. */
#ifndef RUNNEL_STATE_KEYTABLE_H
#define RUNNEL_STATE_KEYTABLE_H

#include "libcore/table/keytable.h"

#endif
